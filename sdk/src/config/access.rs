//! serde's side of the [`Reader`].

use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::read::{Problem, Reader, problem};

/// Whole numbers, of which only the wanted type's code becomes part of a module.
macro_rules! integers {
    ($($name:ident $visit:ident $type:ty;)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
                return Err(self.mistyped(&visitor));
            }
            let number = self.number();
            match number.parse::<$type>() {
                Ok(number) => visitor.$visit(number),
                Err(_) => Err(Problem(format!(
                    "invalid value: {number}, expected {}", stringify!($type)
                ))),
            }
        })*
    };
}

/// Likewise for fractions.
macro_rules! floats {
    ($($name:ident $visit:ident $type:ty;)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
                return Err(self.mistyped(&visitor));
            }
            match self.number().parse::<$type>() {
                Ok(number) => visitor.$visit(number),
                Err(_) => Err(problem("not a number")),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Reader<'_> {
    type Error = Problem;

    integers! {
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
    }

    floats! {
        deserialize_f32 visit_f32 f32;
        deserialize_f64 visit_f64 f64;
    }

    /// For types that take what comes (`untagged`, `flatten`, a JSON value).
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.peek() {
            Some(b'"') => visitor.visit_string(self.string()?),
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b't' | b'f') => self.deserialize_bool(visitor),
            Some(b'n') => self.deserialize_unit(visitor),
            Some(b'-' | b'0'..=b'9') => {
                let text = self.number();
                if let Ok(number) = text.parse() {
                    visitor.visit_u64(number)
                } else if let Ok(number) = text.parse() {
                    visitor.visit_i64(number)
                } else {
                    let number = text.parse().map_err(|_| problem("not a number"))?;
                    visitor.visit_f64(number)
                }
            }
            _ => Err(self.mistyped(&visitor)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.word("true") {
            visitor.visit_bool(true)
        } else if self.word("false") {
            visitor.visit_bool(false)
        } else {
            Err(self.mistyped(&visitor))
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.peek() {
            Some(b'"') => visitor.visit_string(self.string()?),
            _ => Err(self.mistyped(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.word("null") {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.word("null") {
            visitor.visit_unit()
        } else {
            Err(self.mistyped(&visitor))
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if !self.take(b'[') {
            return Err(self.mistyped(&visitor));
        }
        let value = visitor.visit_seq(List {
            reader: self,
            index: 0,
        })?;
        self.expect(b']')?;
        Ok(value)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if !self.take(b'{') {
            return Err(self.mistyped(&visitor));
        }
        let value = visitor.visit_map(Fields {
            reader: self,
            first: true,
            name: String::new(),
        })?;
        self.expect(b'}')?;
        Ok(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self.peek() {
            Some(b'"') => {
                let name: StringDeserializer<Problem> = self.string()?.into_deserializer();
                visitor.visit_enum(name)
            }
            Some(b'{') => {
                self.take(b'{');
                let value = visitor.visit_enum(Variant { reader: self })?;
                self.expect(b'}')?;
                Ok(value)
            }
            _ => Err(self.mistyped(&visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.skip()?;
        visitor.visit_unit()
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_map(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }
}

struct List<'r, 'a> {
    reader: &'r mut Reader<'a>,
    index: usize,
}

impl<'de> SeqAccess<'de> for List<'_, '_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        if self.reader.peek() == Some(b']') {
            return Ok(None);
        }
        if self.index > 0 {
            self.reader.expect(b',')?;
        }
        self.reader.enter_item(self.index)?;
        let value = seed.deserialize(&mut *self.reader)?;
        self.reader.leave();
        self.index += 1;
        Ok(Some(value))
    }
}

struct Fields<'r, 'a> {
    reader: &'r mut Reader<'a>,
    first: bool,
    name: String,
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        if self.reader.peek() == Some(b'}') {
            return Ok(None);
        }
        if !std::mem::take(&mut self.first) {
            self.reader.expect(b',')?;
        }
        self.name = self.reader.string()?;
        let name: StringDeserializer<Problem> = self.name.clone().into_deserializer();
        let key = seed.deserialize(name)?;
        self.reader.expect(b':')?;
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        self.reader.enter_field(std::mem::take(&mut self.name))?;
        let value = seed.deserialize(&mut *self.reader)?;
        self.reader.leave();
        Ok(value)
    }
}

/// `{"name": value}`, which is how serde writes variants that hold something.
struct Variant<'r, 'a> {
    reader: &'r mut Reader<'a>,
}

impl<'de, 'r, 'a> EnumAccess<'de> for Variant<'r, 'a> {
    type Error = Problem;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Problem> {
        let name = self.reader.string()?;
        let text: StringDeserializer<Problem> = name.clone().into_deserializer();
        let variant = seed.deserialize(text)?;
        self.reader.expect(b':')?;
        self.reader.enter_field(name)?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, '_> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        if !self.reader.word("null") {
            return Err(self.reader.mistyped(&"nothing"));
        }
        self.reader.leave();
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Problem> {
        let value = seed.deserialize(&mut *self.reader)?;
        self.reader.leave();
        Ok(value)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let value = Deserializer::deserialize_seq(&mut *self.reader, visitor)?;
        self.reader.leave();
        Ok(value)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let value = Deserializer::deserialize_map(&mut *self.reader, visitor)?;
        self.reader.leave();
        Ok(value)
    }
}
